-- The first look at headers of the checks identifying_attributes and identifying_text: one pass over the text for both.
-- Each is filled into the SQL of the checks (warehouse/catalog/check_rules.py); where both run, they share one answer.

-- name: shapes
-- Whatever looks like the text of a person, as a regular expression over JSON: every shape of identifying_text is here in a
-- form that is not stricter. A text with a backslash may be escaped JSON and always counts.
'\\|[^0-9.][0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\b'
|| '|\b[A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}\b|\b[A-Z]{2}[0-9][0-9A-Z]?[0-9][A-Z]{2}\b'
|| '|(?:\+44|\b0044|[^0-9.]0)[0-9 ()-]{9}'
|| '|[^" ^]\^[^" ^]|"\s*\p{Lu}[\p{Lu}''’-]+, ?\p{Lu}\p{Ll}'
|| '|\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|MRS|MISS|PROF)\b'
|| '|(?i:\bd\.? ?o\.? ?b|birth|\bborn\b|name\s*[:=]|\bnok\b)'
|| '|[^0-9.][0-3]?[0-9][/.-][0-3]?[0-9][/.-](?:19[0-9]{2}|200[0-9])\b'
|| '|[^0-9.](?:19[0-9]{2}|200[0-9])[/-][01][0-9][/-][0-3][0-9]\b'
|| '|(?i:[0-9](?:st|nd|rd|th)?[ -](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ,-]+(?:19|200))'

-- name: parts
-- The parts of headers that may identify: of attributes that identify by definition, at any depth, the element, under its
-- tag; of free text each attribute with one of the shapes, under 'text'. Only parts are kept: headers are large.
-- The expression finds each attribute as written, up to its end where it is evidently empty or allowed, up to the first
-- character of its content where it is not. JSON is parsed only where something is left.
select patient_id, key, tag, unnest(elements) as element
from (
    select
        patient_id,
        key,
        tag,
        case tag
            -- Attributes of a text VR, of an unknown one, or of none; of numbers, dates, UIDs, codes and names not.
            when 'text'
                then list_filter(
                    regexp_extract_all(
                        header,
                        '"[0-9A-Fa-f]{8}"\s*:\s*\{\s*(?:"vr"\s*:\s*"(?:LO|SH|LT|ST|UT|UC|UN)"\s*,\s*)?"Value"\s*:\s*'
                        || '(?:\[(?:[^"\[\]{}]|"(?:[^"\\]|\\.)*")*\]|"(?:[^"\\]|\\.)*")'
                    ),
                    lambda element: regexp_matches(element, {{ identifying_shapes }})
                )
            {{ identifying_elements }}
        end as elements
    from (
        select
            patient_id,
            key,
            header,
            unnest(list_concat(
                list_distinct(list_transform(
                    list_filter(found, lambda text: substr(text, 10, 1) = '"'), lambda text: substr(text, 2, 8)
                )),
                case when len(list_filter(found, lambda text: substr(text, 10, 1) <> '"')) > 0 then ['text'] end
            )) as tag
        from (
            select
                patient_id,
                key,
                header,
                list_filter(
                    regexp_extract_all(
                        header,
                        -- What is allowed by name, then what is empty, then whatever is left; then the shapes.
                        '"(?:{{ pseudonym_tags }})"\s*:\s*\{\s*"vr"\s*:\s*"[A-Z][A-Z]"\s*,\s*"Value"\s*:\s*\[\s*'
                        || '(?:"Covid[0-9]+"|\{\s*"Alphabetic"\s*:\s*"Covid[0-9]+"\s*\})\s*\]\s*\}'
                        || '|"(?:{{ birth_date_tags }})"\s*:\s*\{\s*"vr"\s*:\s*"DA"\s*,\s*"Value"\s*:\s*\[\s*'
                        || '"[0-9]{4}0101"\s*\]\s*\}'
                        || '|"(?:{{ identifying_tags }})"\s*:\s*(?:null|\{\s*\}|\{\s*"vr"\s*:\s*"[A-Z][A-Z]"\s*'
                        || '(?:,\s*"Value"\s*:\s*\[\s*(?:null|""|\{\s*"Alphabetic"\s*:\s*(?:null|"")\s*\})?\s*\]\s*)?\}|.)|'
                        || {{ identifying_shapes }}
                    ),
                    lambda text: not (substr(text, 10, 1) = '"' and (ends_with(text, '}') or ends_with(text, 'null')))
                ) as found
            from headers
        )
        where len(found) > 0
    )
)
