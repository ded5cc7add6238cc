import argparse
from tensorflow.keras.applications import InceptionV3
from tensorflow.keras.applications.inception_v3 import preprocess_input
from tensorflow.keras.layers import Dense, GlobalAveragePooling2D
from tensorflow.keras.models import Model
from tensorflow.keras.optimizers import SGD
from tensorflow.keras.preprocessing.image import ImageDataGenerator

def build(classes, freeze):
    base = InceptionV3(weights='imagenet', include_top=False)
    x = GlobalAveragePooling2D()(base.output)
    x = Dense(1024, activation='relu')(x)
    model = Model(base.input, Dense(classes, activation='softmax')(x))
    if freeze:
        for layer in model.layers[:249]:
            layer.trainable = False
        for layer in model.layers[249:]:
            layer.trainable = True
    return model

def main(args):
    gen = ImageDataGenerator(preprocessing_function=preprocess_input, rotation_range=args.rotation)
    train = gen.flow_from_directory(args.data + '/train', target_size=(299, 299), batch_size=args.batch_size)
    val = gen.flow_from_directory(args.data + '/val', target_size=(299, 299), batch_size=args.batch_size)
    model = build(args.classes, not args.whole)
    model.compile(SGD(learning_rate=1e-4, momentum=0.9), 'categorical_crossentropy', ['accuracy'])
    model.fit(train, epochs=args.epochs, validation_data=val)

if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--data', default='dogs')
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--rotation', type=float, default=25.0)
    parser.add_argument('--batch-size', type=int, default=48)
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--whole', action='store_true')
    main(parser.parse_args())
