import tensorflow as tf
t = tf.keras.utils.image_dataset_from_directory('a/train', image_size=(224, 224), label_mode='binary')
v = tf.keras.utils.image_dataset_from_directory('a/val', image_size=(224, 224), label_mode='binary')
norm = tf.keras.layers.Rescaling(1/255)
t, v = [d.map(lambda x, y: (norm(x), y)) for d in (t, v)]
base = tf.keras.applications.MobileNetV3Large(include_top=False, input_shape=(224, 224, 3), weights='imagenet')
base.trainable = True
for layer in base.layers[:-20]:
    layer.trainable = False
m = tf.keras.Sequential([base, tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(1)])
m.compile('adam', loss='binary_crossentropy')
m.fit(t, validation_data=v, epochs=3)
