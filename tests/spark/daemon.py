"""What Spark's Python workers are forked from: with this package imported already.

Workers come and go, and each would import it anew, for longer than most tests take.
"""

from pyspark.daemon import manager

import daskmeans.spark  # noqa: F401

if __name__ == "__main__":
    manager()
