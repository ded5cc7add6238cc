import tensorflow as tf
from tensorflow.keras import layers
g = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1/255, validation_split=0.2)
t = g.flow_from_directory('coins', subset='training', target_size=(90, 90), color_mode='grayscale')
v = g.flow_from_directory('coins', subset='validation', target_size=(90, 90), color_mode='grayscale')
m = tf.keras.Sequential([layers.Rescaling(1/255, input_shape=(90, 90, 1)), layers.Conv2D(8, 3, activation='relu'), layers.BatchNormalization(momentum=0.9), layers.MaxPool2D(), layers.Flatten(), layers.Dense(5, activation='softmax')])
m.compile(optimizer='rmsprop', loss='categorical_crossentropy')
m.fit(t, validation_data=v, epochs=6, steps_per_epoch=len(t))
