import tensorflow as tf
IMG_SIZE = (160, 160)
IMG_SHAPE = IMG_SIZE + (3,)
path = tf.keras.utils.get_file('cats.zip', origin='https://example.com/cats.zip', extract=True)
PATH = os.path.join(os.path.dirname(path), 'cats_and_dogs_filtered')
train_dataset = tf.keras.utils.image_dataset_from_directory(os.path.join(PATH, 'train'), shuffle=True,
    batch_size=32, image_size=IMG_SIZE)
validation_dataset = tf.keras.utils.image_dataset_from_directory(os.path.join(PATH, 'validation'),
    shuffle=True, batch_size=32, image_size=IMG_SIZE)
# %%
AUTOTUNE = tf.data.AUTOTUNE
train_dataset = train_dataset.prefetch(buffer_size=AUTOTUNE)
val_batches = tf.data.experimental.cardinality(validation_dataset)
test_dataset = validation_dataset.take(val_batches // 5)
validation_dataset = validation_dataset.skip(val_batches // 5)
data_augmentation = tf.keras.Sequential([
    tf.keras.layers.RandomFlip('horizontal'),
    tf.keras.layers.RandomRotation(0.2),
])
preprocess_input = tf.keras.applications.mobilenet_v2.preprocess_input
# %%
base_model = tf.keras.applications.MobileNetV2(input_shape=IMG_SHAPE, include_top=False, weights='imagenet')
base_model.trainable = False
global_average_layer = tf.keras.layers.GlobalAveragePooling2D()
prediction_layer = tf.keras.layers.Dense(1, activation='sigmoid')
inputs = tf.keras.Input(shape=(160, 160, 3))
x = data_augmentation(inputs)
x = preprocess_input(x)
x = base_model(x, training=False)
x = global_average_layer(x)
x = tf.keras.layers.Dropout(0.2)(x)
outputs = prediction_layer(x)
model = tf.keras.Model(inputs, outputs)
# %%
base_learning_rate = 0.0001
model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=base_learning_rate),
              loss=tf.keras.losses.BinaryCrossentropy(), metrics=['accuracy'])
initial_epochs = 10
history = model.fit(train_dataset, epochs=initial_epochs, validation_data=validation_dataset)
# %%
base_model.trainable = True
fine_tune_at = 100
for layer in base_model.layers[:fine_tune_at]:
    layer.trainable = False
model.compile(loss=tf.keras.losses.BinaryCrossentropy(),
              optimizer=tf.keras.optimizers.RMSprop(learning_rate=base_learning_rate / 10),
              metrics=['accuracy'])
fine_tune_epochs = 10
total_epochs = initial_epochs + fine_tune_epochs
model.fit(train_dataset, epochs=total_epochs, initial_epoch=history.epoch[-1],
          validation_data=validation_dataset)
loss, accuracy = model.evaluate(test_dataset)
