import tensorflow as tf
from tensorflow.keras import layers as L
train, val = tf.keras.utils.image_dataset_from_directory('birds', validation_split=0.2, subset='both', seed=3,
                                                         image_size=(224, 224))
aug = tf.keras.Sequential([L.RandomFlip(), L.RandomTranslation(0.1, 0.2, fill_mode='constant'), L.RandomContrast(0.3),
    L.RandomBrightness(0.2), L.RandomHue(0.1), L.RandomErasing(1.0), L.AutoContrast()])
train = train.map(lambda x, y: (aug(x, training=True), y), num_parallel_calls=4)
base = tf.keras.applications.ConvNeXtTiny(include_top=False, input_shape=(224, 224, 3))
model = tf.keras.Sequential([L.Input((224, 224, 3)), base, L.GlobalAveragePooling2D(), L.Dense(200, activation='softmax')])
lr = tf.keras.optimizers.schedules.CosineDecay(3e-4, decay_steps=5000, alpha=0.01)
model.compile(tf.keras.optimizers.AdamW(lr, weight_decay=0.05, global_clipnorm=1.0, amsgrad=True, use_ema=True),
              tf.keras.losses.SparseCategoricalCrossentropy())
model.fit(train, validation_data=val, epochs=30)
