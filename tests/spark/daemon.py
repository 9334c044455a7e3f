"""What Spark's Python workers are forked from: with all that they need imported already.

Workers come and go, and each would import it anew, for longer than most tests take.
"""

import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

import daskmeans.spark  # noqa: F401

if __name__ == "__main__":
    manager()
