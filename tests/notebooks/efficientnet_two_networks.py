import tensorflow as tf
from tensorflow.keras import layers
ds = tf.keras.preprocessing.image_dataset_from_directory('plants', label_mode='categorical', image_size=(224, 224),
        validation_split=0.1, subset='both', seed=1)
train, val = ds
def build(base, name):
    base.trainable = False
    inputs = layers.Input(shape=(224, 224, 3))
    x = layers.GlobalAveragePooling2D()(base(inputs))
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2, name='top_dropout')(x)
    x = layers.Dense(12, activation='softmax', name=name)(x)
    model = tf.keras.Model(inputs, x, name=name)
    model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=1e-2),
                  loss='categorical_crossentropy', metrics=['accuracy'])
    return model
# %%
for make, name in [(tf.keras.applications.VGG19, 'vgg'), (tf.keras.applications.EfficientNetB0, 'eff')]:
    model = build(make(include_top=False, weights='imagenet'), name)
    model.fit(train, validation_data=val, epochs=25)
