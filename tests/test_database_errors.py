"""What DuckDB could not do for want of memory or disk: one line that names the setting that helps."""

import duckdb
import pytest

from commands import Here
from warehouse.database_errors import explain, explain_shortage
