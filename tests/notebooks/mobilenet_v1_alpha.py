from keras.applications import MobileNet
from keras.applications.mobilenet import preprocess_input
from keras.layers import *
from keras.models import Model
from keras.preprocessing.image import ImageDataGenerator
gen = ImageDataGenerator(preprocessing_function=lambda x: x / 127.5 - 1)
train = gen.flow_from_directory('skin/train', target_size=(192, 192), batch_size=10)
valid = gen.flow_from_directory('skin/valid', target_size=(192, 192), batch_size=10)
mobile = MobileNet(alpha=0.5, include_top=False, input_shape=(192, 192, 3))
x = mobile.layers[-6].output
x = GlobalAveragePooling2D()(x)
x = Dropout(0.25)(x)
model = Model(inputs=mobile.input, outputs=Dense(7, activation='softmax')(x))
for layer in model.layers[:-23]:
    layer.trainable = False
model.compile(optimizer='adam', loss='categorical_crossentropy')
model.fit(train, validation_data=valid, epochs=30, class_weight={i: 1.0 if i != 4 else 3.0 for i in range(7)})
