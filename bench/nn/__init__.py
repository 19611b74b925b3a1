"""What students and contestants share: networks, augmentations, pixel spaces and the training of students."""
