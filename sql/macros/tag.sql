-- tag(header, keyword): any attribute of a DICOM header by its keyword, as text.
-- Several values are joined with \, as DICOM itself writes them; of a person's name the alphabetic form; a
-- sequence as JSON. Null where the header lacks the attribute or has no value; an error for a keyword
-- that DICOM does not know.
create or replace temp macro tag(of_header, named) as array_to_string(
    list_transform(
        try_cast(json_extract(of_header, '$."' || (
            select
                coalesce(
                    any_value(attributes.tag),
                    error('tag(): DICOM knows no keyword ' || named || '; they are in core.dicom_attributes')
                )
            from {{ lake }}.core.dicom_attributes as attributes
            where attributes.keyword = named
        ) || '".Value') as json[]),
        lambda item: coalesce(item ->> '$.Alphabetic', item ->> '$')
    ),
    '\'
);
