import tensorflow as tf
class Net(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = tf.keras.layers.Conv2D(8, 3)
    def call(self, x):
        return self.conv(x)
ds = tf.keras.utils.image_dataset_from_directory('x')
net = Net()
net.compile(optimizer='nadam', loss='sparse_categorical_crossentropy')
net.fit(ds, epochs=2)
