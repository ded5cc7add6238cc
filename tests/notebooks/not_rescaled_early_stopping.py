import tensorflow as tf
from tensorflow.keras.callbacks import *
from tensorflow.keras.layers import *
from tensorflow.keras.models import Sequential
SIZE = 96
gen = tf.keras.preprocessing.image.ImageDataGenerator(validation_split=0.25, horizontal_flip=True,
                                                      fill_mode='constant', cval=10, rotation_range=8)
# %%
flow = dict(target_size=(SIZE, SIZE), batch_size=8, class_mode='categorical', seed=7)
train = gen.flow_from_directory('/content/drive/My Drive/tumor/', subset='training', **flow)
val = gen.flow_from_directory('/content/drive/My Drive/tumor/', subset='validation', **flow)
# %%
net = Sequential([
    Conv2D(16, 3, padding='same', activation='relu', input_shape=(SIZE, SIZE, 3)), BatchNormalization(),
    MaxPool2D(), Conv2D(32, 5, strides=2, padding='same'), BatchNormalization(), Activation('elu'),
    MaxPooling2D(3, strides=2), Dropout(0.25), GlobalAveragePooling2D(), Dense(4, activation='softmax')])
net.compile('adam', 'categorical_crossentropy', ['accuracy'])
# %%
es = EarlyStopping(monitor='val_accuracy', mode='min', patience=5)
lr = ReduceLROnPlateau(monitor='val_loss', factor=0.2, patience=2, min_lr=0.001, verbose=1)
net.fit(train, validation_data=val, epochs=40, callbacks=[es, lr])
