import tensorflow as tf
from tensorflow.keras import layers
train = tf.keras.utils.image_dataset_from_directory('train', image_size=(64, 64), color_mode='grayscale',
                                                    interpolation='lanczos3', crop_to_aspect_ratio=True)
train = train.map(lambda x, y: (tf.cast(x, tf.float32) / 127.5 - 1, y))
val = tf.keras.utils.image_dataset_from_directory('train', image_size=(64, 64), color_mode='grayscale')
model = tf.keras.Sequential([
    layers.Conv2D(8, 3, activation='relu', kernel_regularizer=tf.keras.regularizers.l2(1e-4),
                  kernel_initializer='he_normal'),
    layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3, activation='softmax')])
model.compile(optimizer=tf.keras.optimizers.SGD(0.05, momentum=0.9),
              loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(train, validation_data=val, epochs=12)
