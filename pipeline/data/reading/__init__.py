"""From a picture's file to a batch: decoding, preprocessing, augmentation, caches."""
