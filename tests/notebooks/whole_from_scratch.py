import tensorflow as tf
tf.keras.utils.set_random_seed(11)
ds = tf.keras.utils.image_dataset_from_directory('grains', image_size=(128, 128), batch_size=None)
train = ds.take(800).batch(16)
val = ds.skip(800).batch(16)
model = tf.keras.applications.ResNet50(weights=None, classes=5, input_shape=(128, 128, 3))
model.compile(optimizer=tf.keras.optimizers.Adam(beta_1=0.95, epsilon=0.1), loss='sparse_categorical_crossentropy')
model.fit(train, validation_data=val, epochs=100)
