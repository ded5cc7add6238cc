import pandas as pd
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight
df = pd.read_csv('labels.csv')
df['label'] = df['label'].astype(str)
train_df, val_df = train_test_split(df, test_size=0.15, random_state=42, stratify=df['label'])
weights = compute_class_weight('balanced', classes=np.unique(train_df['label']), y=train_df['label'])
class_weights = dict(enumerate(weights))
# %%
from tensorflow.keras.preprocessing.image import ImageDataGenerator
from tensorflow.keras.applications.densenet import DenseNet121, preprocess_input
datagen = ImageDataGenerator(preprocessing_function=preprocess_input)
train = datagen.flow_from_dataframe(train_df, directory='images', x_col='file', y_col='label',
                                    target_size=(224, 224), batch_size=24, class_mode='categorical')
val = datagen.flow_from_dataframe(val_df, directory='images', x_col='file', y_col='label',
                                  target_size=(224, 224), batch_size=24, class_mode='categorical')
# %%
from tensorflow.keras import Model
from tensorflow.keras.layers import Dense, BatchNormalization
base = DenseNet121(include_top=False, weights='imagenet', pooling='avg')
base.trainable = False
out = Dense(5, activation='softmax')(BatchNormalization()(base.output))
model = Model(base.input, out)
model.compile(loss='categorical_crossentropy', optimizer='adamw', metrics=['accuracy'])
model.fit(train, validation_data=val, epochs=8, class_weight=class_weights)
