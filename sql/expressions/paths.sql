-- Paths of objects below a download folder (warehouse/manifests/paths.py, layouts.py), over a manifest's rows.
-- $homes and $folders: the sources and the folder of each, if there are several.

-- name: path_by_key
case
    when len(cast($homes as varchar[])) = 0 then key
    else list_extract(
        cast($folders as varchar[]),
        list_position(cast($homes as varchar[]), left(uri, length(uri) - length(key) - 1))
    ) || '/' || key
end

-- name: piece
-- A value as part of a file's name: without the characters that separate folders or that Windows refuses, and without
-- dots and spaces at either end; a missing value is `unknown`.
coalesce(
    nullif(
        regexp_replace(
            regexp_replace(trim({{ text }}), '[\p{Cc}\p{Cf}/\\:*?"<>|]', '_', 'g'), '^[. ]+|[. ]+$', '_', 'g'
        ),
        ''
    ),
    'unknown'
)

-- name: padded
format('{:0{{ width }}d}', cast({{ column }} as bigint))

-- name: whole
cast({{ column }} as varchar)

-- name: ending
case object when 'dcm' then '.dcm' else '.json' end

-- name: name_of_clinical
-- Clinical files have no study and no series; the digest of their uri makes their names unique.
'clinical/' || {{ patient }} || '_' || coalesce(cast(available_date as varchar), 'unknown') || '_'
|| left(sha256(uri), 12) || '.json'

-- name: by_template
case object when 'clinical' then {{ clinical }} else {{ image }} || {{ ending }} end

-- name: flat_clinical
left("the patient", 100) || '_' || coalesce(cast(available_date as varchar), 'unknown') || '_' || left(sha256(uri), 16) || '.json'

-- name: flat_doubled
left("the stem", 100) || '_' || left(sha256(uri), 16) || {{ ending }}
