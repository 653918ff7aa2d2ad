-- Texts of a lake's files that name a purged patient. One statement under each name; warehouse/withdrawal/mentions.py
-- runs them.

-- name: doomed
create or replace temp table doomed as select unnest(cast($positions as bigint[])) as pos;

-- name: count
-- How many rows of a file name a purged patient in a text, all together and by column.
select count(*) filter ({{ tests }}), {{ counts }} -- noqa: PRS, AL02, AL03
from {{ scan }}
where file_row_number not in (select pos from doomed);
