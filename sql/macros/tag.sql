-- tag(header, keyword): any attribute of a DICOM header by its keyword, as text; or by its number: tag(header, '00291010').
-- tag(header, '0029xx10', creator): a private attribute, wherever its creator has reserved room (PS3.5 7.8.1).
-- Several values are joined with \, as DICOM itself writes them, and a gap among them is kept; of a person's name the
-- alphabetic form; a sequence as one JSON list; bytes as they stand in the header, in base64. Null where the header lacks
-- the attribute or has no value; an error for a keyword that DICOM does not know.
-- A keyword that is a literal is looked up once, when the query is bound: so nothing here joins.
set variable dicom_attributes = {{ attributes }};

create or replace temp macro dicom_tag(named) as case
    when regexp_full_match(named, '[0-9A-Fa-f]{8}') then upper(named)
    else coalesce(nullif(left(split_part(getvariable('dicom_attributes'), e'\n' || named || '=', 2), 8), ''), 'unknown')
end;

-- The text of an attribute in normal form.
create or replace temp macro dicom_text(of_attribute) as list_transform(
    [of_attribute],
    lambda attribute: case json_extract_string(attribute, '$.vr')
        when 'SQ'
            then coalesce(
                nullif(cast(json_extract(attribute, '$.Value') as varchar), '[]'),
                json_extract_string(attribute, '$.InlineBinary')
            )
        when 'PN' then nullif(array_to_string(json_extract_string(attribute, '$.Value[*].Alphabetic'), '\'), '')
        else coalesce(
            nullif(array_to_string(json_extract_string(attribute, '$.Value[*]'), '\'), ''),
            json_extract_string(attribute, '$.InlineBinary')
        )
    end
)[1];

-- Of many attributes the header is taken apart once (the same expression in each call), of few it is searched for each:
-- the reader chooses by the variable many_tags. Either takes the first where an attribute is there twice.
create or replace temp macro dicom_attribute(of_header, of_tag) as case
    when getvariable('many_tags')
        then list_extract(json_extract(of_header, '$.*'), list_position(json_keys(of_header), of_tag))
    else json_extract(of_header, '$."' || of_tag || '"')
end;

create or replace temp macro dicom_creator_block(of_header, in_group, creator) as list_filter(
    json_keys(of_header),
    lambda key: (
        starts_with(key, in_group || '00')
        and key[7:8] >= '10'
        and json_extract_string(of_header, '$."' || key || '".Value[0]') = creator
    )
)[1][7:8];

-- The linter knows no macro of two forms.
-- noqa: disable=all
create or replace temp macro tag
    (of_header, named) as case
        when dicom_tag(named) = 'unknown'
            then error('tag(): DICOM knows no keyword ' || named || '. Search its dictionary:  chest describe dicom WORD')
        else dicom_text(dicom_attribute(of_header, dicom_tag(named)))
    end,
    (of_header, named, creator) as dicom_text(json_extract(
        of_header,
        '$."' || upper(left(named, 4))
        || dicom_creator_block(of_header, upper(left(named, 4)), creator)
        || upper(right(named, 2)) || '"'
    ));
