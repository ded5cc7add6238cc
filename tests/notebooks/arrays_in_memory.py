import numpy as np
from keras.datasets import cifar10
from keras.utils import to_categorical
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D, Flatten, Dense
from keras.preprocessing.image import ImageDataGenerator
(x_train, y_train), (x_test, y_test) = cifar10.load_data()
x_train = x_train.astype('float32') / 255
x_test = x_test.astype('float32') / 255
model = Sequential([Conv2D(32, (3, 3), padding='same', activation='relu', input_shape=(32, 32, 3)),
                    MaxPooling2D((2, 2)), Flatten(), Dense(10, activation='softmax')])
model.compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy'])
aug = ImageDataGenerator(rotation_range=15, horizontal_flip=True)
model.fit(aug.flow(x_train, to_categorical(y_train), batch_size=64), epochs=30,
          validation_data=(x_test, to_categorical(y_test)))
