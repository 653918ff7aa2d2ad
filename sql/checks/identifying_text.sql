-- title: Free text in a header that looks as if it identifies a person
-- meaning: A text in a header contains what looks like a name, a date of birth, an NHS number (ten digits whose last is the
--   right check digit, modulus 11), a UK postcode or a telephone number. This is a heuristic: a person has to review it.
--   Attributes that identify by definition have their own check, identifying_attributes. One row for each
--   attribute and kind; what was found is shown masked, by its first character and its length.
-- severity: warning
-- table: headers
with
texts as (
    select
        patient_id,
        key,
        upper(substr(element, 2, 8)) as tag,
        unnest(list_concat(
            json_extract_string('{' || element || '}}', '$.*.Value[*]'),
            list_filter(
                json_extract_string('{' || element || '}}', '$.*.Value'), lambda text: not starts_with(text, '[')
            )
        )) as text
    from {{ identifying_parts }}
    where tag = 'text'
),

looks as (
    select
        patient_id,
        key,
        tag,
        unnest([ -- noqa: AL03
            struct_pack(looks_like := 'an NHS number', found := list_filter(
                regexp_extract_all(text, '(?:^|[^0-9.])([0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4})\b', 1),
                lambda number: is_nhs_number(number)
            )[1]),
            -- The areas are those of the Royal Mail; without the space only two-letter areas, else codes look the same.
            -- ZZ99 is the health service's, for who has no address here.
            struct_pack(looks_like := 'a postcode', found := nullif(regexp_extract(
                text,
                '\b(?:(?:[BEGLMNSW]|{{ postcode_areas }})[0-9][0-9A-Z]? |(?:{{ postcode_areas }})[0-9][0-9A-Z]?)'
                || '[0-9][ABD-HJLNP-UW-Z]{2}\b|\bZZ99 ?[0-9][A-Z]{2}\b'
            ), '')),
            -- A bare row of digits is a number of something else unless it is a mobile's or its label says telephone.
            struct_pack(looks_like := 'a telephone number', found := list_filter(
                regexp_extract_all(
                    text,
                    '(?:^|[^0-9.+])((?:(?:\+|00)44[ -]?(?:\(0\) ?)?|\(?0)[1-37][0-9]{1,4}\)?[ -]?'
                    || '[0-9]{3,4}[ -]?[0-9]{2,4})\b',
                    1
                ),
                lambda number: (
                    length(regexp_replace(regexp_replace(number, '[^0-9]', '', 'g'), '^(00)?(44)?0?', '')) in (9, 10)
                    and (
                        regexp_matches(number, '^(?:\+|00)44|^07[0-9]{9}$|[0-9][) -]+[0-9]')
                        or regexp_matches(text, '(?i)\b(?:tel|phone|telephone|mob|mobile)\b')
                    )
                )
            )[1]),
            -- Without a label, a date before 2010 in the text of a header of later years.
            struct_pack(looks_like := 'a date of birth', found := coalesce(
                nullif(regexp_extract(
                    text,
                    '(?i)(?:\bd\.? ?o\.? ?b\b\.?|\bdate of birth|\bbirth ?date|\bborn\b)[^0-9]{0,8}'
                    || '([0-9][0-9a-z ./-]{4,18}[0-9])',
                    1
                ), ''),
                nullif(regexp_extract(
                    text,
                    '(?:^|[^0-9.])([0-3]?[0-9][/.-][0-3]?[0-9][/.-](?:19[0-9]{2}|200[0-9])'
                    || '|(?:19[0-9]{2}|200[0-9])[/-][01][0-9][/-][0-3][0-9])\b',
                    1
                ), ''),
                nullif(regexp_extract(
                    text,
                    '(?i)\b[0-3]?[0-9](?:st|nd|rd|th)?[ -](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*'
                    || '[ ,-]+(?:19[0-9]{2}|200[0-9])\b'
                ), '')
            )),
            -- DICOM's own SMITH^Jane; a title and a name; a label and a word; a text that is SMITH, Jane and no more.
            struct_pack(looks_like := 'a name', found := coalesce(
                nullif(regexp_extract(text, '\pL[\pL''’-]+\^\pL[\pL''’^-]*'), ''),
                nullif(regexp_extract(
                    text, '\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|MRS|MISS|PROF)\b\.? *(\p{Lu}[\pL''’-]+)', 1
                ), ''),
                nullif(regexp_extract(
                    text,
                    '(?i)\b(?:(?:patient|pt|full|first|fore|last|sur|family|given|maiden|mother|nok)(?:''s)?'
                    || '[ _-]?name|nok)\s*[:=]\s*(\pL[\pL''’ -]+)',
                    1
                ), ''),
                nullif(regexp_extract(text, '^\s*\p{Lu}[\p{Lu}''’-]+, ?\p{Lu}\p{Ll}+(?: \p{Lu}\.?)?\s*$'), '')
            ))
        ], recursive := true)
    from texts
    where text is not null and tag not in ({{ identifying_tag_list }})
)

select
    looks.patient_id,
    looks.key,
    attributes.keyword as attribute,
    looks.tag,
    looks.looks_like,
    masked(any_value(looks.found)) as found
from looks
left join core.dicom_attributes as attributes on looks.tag = attributes.tag
where looks.found is not null
group by all
order by all;
