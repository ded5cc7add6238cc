from keras.models import Sequential
from keras.layers import *
from keras.preprocessing.image import ImageDataGenerator
g = ImageDataGenerator(rescale=1/255, rotation_range=0.2)
train = g.flow_from_directory('a/train', batvh_size=16, target_size=(100, 120), class_mode='binary', shuffle=False)
test = g.flow_from_directory('a/train', target_size=(100, 120), class_mode='binary')
m = Sequential()
m.add(SeparableConv2D(16, (3, 3), activation='relu', input_shape=(100, 120, 3)))
m.add(LeakyReLU(alpha=0.1))
m.add(AveragePooling2D((2, 2)))
m.add(Conv2D(32, (3, 5), dilation_rate=2, activation='selu'))
m.add(GlobalMaxPooling2D())
m.add(Dense(64, activation='tanh'))
m.add(Dense(1, activation='softmax'))
m.compile(optimizer='adadelta', loss='mse')
m.fit(train, epochs=5)
m.evaluate(test)
