"""What antiphon keeps of whistle, and what HARP needs of its dispatcher."""
