-- A batch of headers (relation batch: the columns of raw.objects, and content as text) to rows of core.images.
-- Filled from sql/columns/images.csv.

-- name: headers
-- is_usual: it is JSON, and the VRs are those from which its columns are read.
select
    {{ object_columns }},
    {{ dicom_columns }},
    {{ rules }} as rules,
    tags is not null and {{ usual_vrs }} as is_usual
from (
    -- The values by themselves: binding the query takes a quarter less than with macros over the whole structure.
    select *, {{ dicom_values }}, {{ dicom_vrs }}
    from (
        select *, try(json_transform(content, '{{ structure }}')) as tags
        from batch
    )
);

-- name: normalised
-- The same of headers that were brought into normal form, of which content has the values of the columns alone.
select
    {{ object_columns }},
    {{ dicom_columns }},
    {{ rules }} as rules
from (
    select *, {{ dicom_values }}
    from (
        select *, try(json_transform(content, '{{ structure }}')) as tags
        from batch
    )
);
