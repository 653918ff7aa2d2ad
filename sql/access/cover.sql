-- The views of a session under an agreement: temporary, so that their names come before those of the lake's own, in
-- queries and in the lake's other views, which stand on these. What the agreement does not cover is not in them.
-- The shield is a sample of all rows, for untrusted SQL (sql/sandbox/shield.sql): no filter of a query is moved below it.

-- name: view
create or replace temp view {{ view }} as
from (select * {{ masked }} from {{ lake }}.main.{{ view }} where {{ covered }}) {{ shield }};
