import tensorflow as tf
from tensorflow.keras import layers
g = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1/255)
t = g.flow_from_directory('m/train', target_size=(60, 70), interpolation='bilinear')
v = g.flow_from_directory('m/val', target_size=(60, 70), interpolation='bilinear')
m = tf.keras.Sequential([layers.Conv2D(4, 3, activation='relu'), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(2, activation='softmax')])
m.compile(tf.keras.optimizers.Adam(1e-3), loss='categorical_crossentropy')
m.fit(t, validation_data=v, epochs=5)
m.fit(t, validation_data=v, epochs=5)
m.compile(tf.keras.optimizers.Adam(1e-4), loss='categorical_crossentropy')
m.fit(t, validation_data=v, epochs=3)
