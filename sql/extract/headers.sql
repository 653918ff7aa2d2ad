-- A batch of headers (relation batch: the columns of raw.objects, and content as text) to rows of core.images.
-- Filled from sql/columns/images.csv. is_header is false where the content is no DICOM JSON object.
select
    {{ object_columns }},
    {{ dicom_columns }},
    coalesce(tags is not null and (
        tags."00080018" is not null
        or (starts_with(ltrim(content, e' \t\r\n'), '{') and regexp_matches(content, '"[0-9A-Fa-f]{8}"\s*:'))
    ), false) as is_header
from (
    -- The values by themselves: binding the query takes a quarter less than with macros over the whole structure.
    select *, {{ dicom_values }}
    from (
        select *, try(json_transform(content, '{{ structure }}')) as tags
        from batch
    )
);
