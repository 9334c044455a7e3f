"""scikit-learn's contract over the algorithms, thin."""
