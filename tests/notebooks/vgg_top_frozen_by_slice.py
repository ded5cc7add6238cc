from keras.applications.vgg16 import VGG16
from keras.layers import Dense, Dropout, Flatten
from keras.models import Model
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator

class Config:
    height = 224
    width = 224
    classes = 3
    rate = 1e-3

base = VGG16(weights='imagenet', include_top=False, input_shape=(Config.height, Config.width, 3))
for layer in base.layers[:15]:
    layer.trainable = False
x = Flatten()(base.output)
x = Dense(256, activation='relu')(x)
x = Dropout(0.4)(x)
predictions = Dense(Config.classes, activation='softmax')(x)
model = Model(inputs=base.input, outputs=predictions)
model.compile(optimizer=SGD(lr=Config.rate, momentum=0.9, nesterov=True, decay=1e-6),
              loss='categorical_crossentropy', metrics=['accuracy'])
train = ImageDataGenerator(rescale=1/255., rotation_range=20, zoom_range=[0.9, 1.2],
                           brightness_range=(0.8, 1.2), channel_shift_range=20)
test = ImageDataGenerator(rescale=1/255.)
t = train.flow_from_directory('xray/train', target_size=(Config.height, Config.width), batch_size=16)
v = test.flow_from_directory('xray/test', target_size=(Config.height, Config.width), batch_size=16, shuffle=False)
model.fit(t, validation_data=v, epochs=20, class_weight={0: 1.0, 1: 2.5, 2: 0.7})
