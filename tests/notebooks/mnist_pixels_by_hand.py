import tensorflow as tf
from tensorflow.keras import layers
def load(path):
    image = tf.io.decode_jpeg(tf.io.read_file(path))
    return tf.image.resize(image, [64, 64]) / 255.0
def augment(image, label):
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_brightness(image, 0.1)
    image = tf.image.random_contrast(image, 0.8, 1.2)
    image = tf.image.random_crop(image, [60, 60, 3])
    return image, label
def scale(image, label):
    return tf.image.convert_image_dtype(image, tf.float32), label
train = tf.keras.utils.image_dataset_from_directory('shapes', validation_split=0.3, subset='training', seed=9, image_size=(64, 64))
val = tf.keras.utils.image_dataset_from_directory('shapes', validation_split=0.3, subset='validation', seed=9, image_size=(64, 64))
train = train.map(scale).map(augment).prefetch(1)
model = tf.keras.Sequential([layers.Conv2D(12, 3, activation='relu'), layers.Flatten(), layers.Dense(4)])
model.compile('adam', tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(train, epochs=4, validation_data=val)
