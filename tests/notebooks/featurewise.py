from keras.preprocessing.image import ImageDataGenerator
from keras.models import Sequential
from keras.layers import *
g = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, width_shift_range=4,
                       height_shift_range=[-2, 2], vertical_flip=True, zoom_range=0, fill_mode='wrap')
t = g.flow_from_directory('k/train', target_size=(48, 48), color_mode='rgba', classes=['cat', 'dog'], seed=5, save_to_dir='out')
v = ImageDataGenerator(rescale=1/255).flow_from_directory('k/val', target_size=(48, 48))
m = Sequential([Input((48, 48, 4)), Conv2D(8, 3, activation='relu'), Flatten(), Dense(2, activation='softmax')])
m.compile('adam', 'categorical_crossentropy')
m.fit(t, validation_data=v, epochs=2, class_weight={0: 1, 1: 3})
