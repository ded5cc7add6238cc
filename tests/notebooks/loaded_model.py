from tensorflow.keras.models import load_model
import tensorflow as tf
ds = tf.keras.utils.image_dataset_from_directory('new')
m = load_model('old.h5')
m.compile('adam', 'sparse_categorical_crossentropy')
m.fit(ds, epochs=2, validation_data=ds)
