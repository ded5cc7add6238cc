from keras.models import Sequential
from keras.layers import *
from keras.preprocessing.image import ImageDataGenerator
from keras.callbacks import EarlyStopping, ReduceLROnPlateau
g = ImageDataGenerator(rescale=1/255, validation_split=0.2)
a = g.flow_from_directory('bugs', target_size=(227, 227), subset='training')
b = g.flow_from_directory('bugs', target_size=(227, 227), subset='validation')
def alexnet(classes, dropout=0.5):
    m = Sequential(name='alexnet')
    m.add(Conv2D(96, 11, strides=4, activation='relu', input_shape=(227, 227, 3)))
    m.add(MaxPooling2D(3, strides=2))
    m.add(BatchNormalization())
    m.add(Conv2D(256, 5, padding='same', activation='relu'))
    m.add(MaxPooling2D(3, strides=2))
    for width in [384, 384, 256]:
        m.add(Conv2D(width, 3, padding='same', activation='relu'))
    m.add(MaxPooling2D(3, strides=2))
    m.add(Flatten())
    for width in [4096, 4096]:
        m.add(Dense(width, activation='relu'))
        m.add(Dropout(dropout))
    m.add(Dense(classes, activation='softmax'))
    return m
m = alexnet(a.num_classes)
m.compile(optimizer='sgd', loss='categorical_crossentropy', metrics=['accuracy'])
m.fit(a, validation_data=b, epochs=90, callbacks=[EarlyStopping(patience=10), ReduceLROnPlateau(factor=0.1, patience=4)])
