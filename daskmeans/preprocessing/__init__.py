"""Make columns fit to be clustered: missing values, scales and outliers, learned in one pass."""

from daskmeans.preprocessing.preprocessor import Preprocessor
from daskmeans.preprocessing.put_back import put_back
from daskmeans.preprocessing.selection import numeric_columns

__all__ = ["Preprocessor", "numeric_columns", "put_back"]
