from tensorflow.keras.applications import Xception
import tensorflow as tf
ds = lambda part: tf.keras.utils.image_dataset_from_directory('set/' + part, image_size=(299, 299), label_mode='categorical')
train, val, test = ds('train'), ds('val'), ds('test')
inputs = tf.keras.Input(shape=(299, 299, 3))
x = tf.keras.layers.Rescaling(scale=1/127.5, offset=-1)(inputs)
base = Xception(weights='imagenet', include_top=False, input_shape=(299, 299, 3))
x = base(x, training=True)
x = tf.keras.layers.GlobalAveragePooling2D()(x)
model = tf.keras.Model(inputs, tf.keras.layers.Dense(20, activation='sigmoid')(x))
model.compile(optimizer=tf.keras.optimizers.Adamax(1e-4), loss='binary_crossentropy')
model.fit(train, validation_data=val, epochs=5, callbacks=[tf.keras.callbacks.EarlyStopping(monitor='loss', patience=9, restore_best_weights=True)])
model.evaluate(test)
