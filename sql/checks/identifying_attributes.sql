-- title: Attribute of a header that identifies a person or an institution
-- meaning: Headers come without names, birth dates, addresses, telephone numbers, physicians, institutions and other
--   identifiers (DICOM PS3.15, Basic Profile, table E.1-1; the attributes are in sql/columns/identifying.csv). Allowed
--   are the patient's pseudonym in place of a name or identifier, 1 January as a birth date, and words stating that
--   something was removed. One row for each value, at whatever depth of sequences; it is shown masked, by its first
--   character and its length. tag(header, keyword) has the value itself.
-- severity: error
-- table: headers
with
elements as (
    select patient_id, key, tag, cast(element as json) as element
    from {{ identifying_parts }}
    where tag <> 'text'
),

-- All that is text or number in an attribute, under whatever name and at any depth, except its VR.
contents as (
    select elements.patient_id, elements.key, elements.tag, leaf.atom as content
    from elements, json_tree(elements.element) as leaf
    where leaf.atom is not null and leaf.key is distinct from 'vr'
),

values_found as (
    -- Of a name the parts are between carets; carets alone are an empty name.
    select patient_id, key, tag, trim(content ->> '$', ' ^=') as found
    from contents
    where json_type(content) <> 'NULL'
),

pseudonyms as (
    select distinct patient_id as pseudonym from raw.objects where patient_id is not null
)

select
    values_found.patient_id,
    values_found.key,
    identifying.keyword as attribute,
    values_found.tag,
    identifying.what,
    masked(values_found.found) as found
from values_found
inner join (values {{ identifying }}) as identifying (keyword, tag, what, allowed) on values_found.tag = identifying.tag
left join pseudonyms on values_found.found = pseudonyms.pseudonym
where
    values_found.found <> ''
    and not (
        identifying.allowed = 'the pseudonym'
        and (pseudonyms.pseudonym is not null or regexp_full_match(values_found.found, 'Covid[0-9]+'))
    )
    and not (identifying.allowed = '1 January' and regexp_full_match(values_found.found, '[0-9]{4}[.-]?01[.-]?01'))
    and not regexp_full_match(
        values_found.found,
        '(?i)[-*x.?]+|none|null|n/?a|unknown|anon(ymous|ymi[sz]ed)?|de-?identified|removed|redacted'
    )
order by all;
