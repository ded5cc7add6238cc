from keras.preprocessing.image import ImageDataGenerator
g = ImageDataGenerator(rescale=1/255)
flow = g.flow_from_directory('x')
images, labels = next(flow)
