import math
import tensorflow as tf
from tensorflow.keras.callbacks import LearningRateScheduler, ModelCheckpoint, Callback
gen = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1/255.0)
train = gen.flow_from_directory('train')
val = gen.flow_from_directory('val')
class Timer(Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(epoch)
def step_decay(epoch):
    initial, drop, every = 0.01, 0.5, 10
    return initial * math.pow(drop, math.floor(epoch / every))
model = tf.keras.Sequential()
for filters in (16, 32, 64):
    model.add(tf.keras.layers.Conv2D(filters, 3, activation='relu', padding='same'))
    model.add(tf.keras.layers.MaxPooling2D())
model.add(tf.keras.layers.Flatten())
model.add(tf.keras.layers.Dense(7, activation='softmax'))
model.compile(optimizer=tf.keras.optimizers.Adam(), loss='categorical_crossentropy')
model.fit(train, validation_data=val, epochs=60, verbose=2, callbacks=[
    Timer(), LearningRateScheduler(step_decay, verbose=1),
    ModelCheckpoint('w.{epoch:02d}.h5', monitor='val_acc', save_best_only=True, mode='max')])
