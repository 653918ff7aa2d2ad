-- Conditions of a search (PS3.4 C.2.2.2): `column` is a column of the index, `low`, `high` and `values` are parameters.

-- name: one
{{ column }} = {{ low }};

-- name: one of
{{ column }} in (select unnest(cast({{ values }} as varchar[])));

-- name: any of
list_has_any({{ column }}, cast({{ values }} as varchar[]));

-- name: from
{{ column }} >= {{ low }};

-- name: until
{{ column }} <= {{ high }};

-- name: list number
list_contains({{ column }}, {{ low }});

-- name: like
-- Case counts, except in names of persons (PS3.4 C.2.2.2.4).
regexp_full_match({{ column }}, {{ low }});

-- name: list like
len(list_filter({{ column }}, lambda item: regexp_full_match(item, {{ low }}))) > 0;

-- name: is member
-- Of a cohort, by the column of its grain.
{{ column }} in (select member from dicomweb.main.{{ members }});
