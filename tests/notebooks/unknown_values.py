import os, json
settings = json.load(open('settings.json'))
from tensorflow.keras.preprocessing.image import ImageDataGenerator
from tensorflow.keras.models import Sequential, load_model
from tensorflow.keras.layers import *
if os.path.exists('/kaggle'):
    root = '/kaggle/input/set'
else:
    root = 'set'
g = ImageDataGenerator(rescale=1/255, rotation_range=settings['rotation'], **settings['more'])
train = g.flow_from_directory(root + '/train', target_size=(settings['size'], settings['size']))
val = g.flow_from_directory(os.path.join(root, 'val'))
m = Sequential([Conv2D(settings['filters'], 3, activation='relu', input_shape=(80, 80, 3)), Conv2D(16, 3, activation=settings['activation']), Flatten(), Dense(3, activation='softmax')])
if settings['deep']:
    m.add(Dropout(0.1))
m.compile(settings['optimizer'], loss='categorical_crossentropy')
m.fit(train, validation_data=val, epochs=settings['epochs'], callbacks=settings['callbacks'])
