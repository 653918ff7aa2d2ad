-- One spelling for names that hospitals and makers write in several ways. Expressions over one text, {{ name }};
-- warehouse/catalog/spelling.py fills them into the views, and into the macro fold_centre. Nothing else folds a name.

-- name: text
-- Lower case. White space of any kind (no-break, thin, ideographic, tabs, line breaks, NUL) is one space;
-- what takes no room (zero width, direction, soft hyphen) is nothing; typographic apostrophes and dashes are the
-- plain ones; letters with marks are composed (NFC). A name without a letter left is null.
nullif(trim(regexp_replace(
    translate(
        regexp_replace(lower(nfc_normalize({{ name }})), '\p{Cf}+', '', 'g'),
        '‘’ʼ′`‐‑‒–—−', '''''''''''------'
    ),
    '[\s\p{Z}\x00\x0B\x1C-\x1F\x85]+', ' ', 'g'
)), '')

-- name: centre
-- Known aliases are those of sql/cleaning/mappings.csv, map_name centre.
case {{ text }} {{ centre_aliases }} else {{ text }} end

-- name: vendor
-- Of a text spelt so. Makers are known by how their name begins, up to a character that is neither letter nor digit: SIEMENS,
-- Siemens Healthineers and Siemens AG are one. What mappings.csv (map_name vendor_starts) does not know stays as it is.
-- A map, since DuckDB would write the operand of a CASE out once for each WHEN, and look for it each time.
coalesce(
    map { {{ vendor_names }} }[regexp_extract({{ spelt }}, '^({{ vendor_starts }})(?:[^a-z0-9]|$)', 1)],
    {{ spelt }}
)
