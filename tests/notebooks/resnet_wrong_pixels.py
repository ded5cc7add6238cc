from tensorflow.keras.applications import ResNet50
from tensorflow.keras.layers import *
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing.image import ImageDataGenerator
train_gen = ImageDataGenerator(rescale=1./255, horizontal_flip=True)
def make(folder, shuffle=True):
    return train_gen.flow_from_directory(f'data/{folder}', target_size=(224, 224), batch_size=32,
                                         class_mode='categorical', shuffle=shuffle)
train, val, test = make('train'), make('val'), make('test')
# %%
model = Sequential()
model.add(ResNet50(include_top=False, pooling='avg', weights='imagenet'))
model.add(Dense(2, activation='softmax'))
model.layers[0].trainable = False
model.compile(optimizer='sgd', loss='categorical_crossentropy', metrics=['accuracy'])
# %%
from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint, TensorBoard, CSVLogger
cb = [EarlyStopping(monitor='val_loss', patience=3),
      ModelCheckpoint('best.hdf5', monitor='val_loss', save_best_only=True, mode='auto'),
      TensorBoard(log_dir='logs'), CSVLogger('log.csv')]
model.fit(train, epochs=10, validation_data=val, callbacks=cb)
# %%
pred = model.predict(test)
from sklearn.metrics import classification_report
print(classification_report(test.classes, pred.argmax(axis=1)))
