from keras.preprocessing.image import ImageDataGenerator
from keras.models import Sequential
from keras.layers import Convolution2D, MaxPooling2D, Flatten, Dense
print 'building'
m = Sequential()
m.add(Convolution2D(32, 3, 3, input_shape=(64, 64, 3), activation='relu'))
m.add(MaxPooling2D(pool_size=(2, 2)))
m.add(Flatten())
m.add(Dense(output_dim=128, activation='relu'))
m.add(Dense(output_dim=1, activation='sigmoid'))
m.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
g = ImageDataGenerator(rescale=1./255)
train = g.flow_from_directory('dataset/training_set', target_size=(64, 64), batch_size=32, class_mode='binary')
test = g.flow_from_directory('dataset/test_set', target_size=(64, 64), batch_size=32, class_mode='binary')
m.fit_generator(train, samples_per_epoch=8000, nb_epoch=25, validation_data=test, nb_val_samples=2000)
