-- From the values of a DICOM attribute in normal form (a list of text; of doubles for DOUBLE and INTEGER) to a typed
-- value; one macro per type of sql/columns/images.csv. The form of a value was looked at before: see headers.sql.
-- What cannot be read is null: one bad value costs one cell. Several values in a column for one: the first.
-- These run for every attribute of every header: measure (make bench) before making one more careful.
create or replace temp macro dicom_varchar(v) as nullif(v[1], '');
-- VR PN is an object of representations; the alphabetic one is meant.
create or replace temp macro dicom_name(v) as nullif(
    case when starts_with(v[1], '{') then try(v[1] ->> '$.Alphabetic') else v[1] end, ''
);
-- VR DS has no NaN and no infinity, whatever a cast may read.
create or replace temp macro dicom_double(v) as case when isfinite(v[1]) then v[1] end;
-- IS may arrive as 3, "3" or 3.0; 3.7 is not an integer and is not rounded.
create or replace temp macro dicom_integer(v) as case when trunc(v[1]) = v[1] then try_cast(v[1] as integer) end;
-- VR DA is YYYYMMDD; ACR-NEMA wrote YYYY.MM.DD.
create or replace temp macro dicom_date(v) as cast(try_strptime(v[1], ['%Y%m%d', '%Y.%m.%d']) as date);
-- VR TM is HHMMSS.FFFFFF of which the end may be missing; ACR-NEMA wrote HH:MM:SS. No day has a 24th hour.
create or replace temp macro dicom_time(v) as case when v[1] < '24' then coalesce(
    try_cast(left(v[1], 2) || ':' || substr(v[1], 3, 2) || ':' || substr(v[1], 5) as time),
    try_cast(
        case length(v[1]) when 2 then v[1] || ':00' when 4 then left(v[1], 2) || ':' || right(v[1], 2) else v[1] end
        as time
    )
) end;
create or replace temp macro dicom_varchar_list(v) as case
    when len(v) > 0 then list_transform(v, lambda item: nullif(item, ''))
end;
create or replace temp macro dicom_double_list(v) as case
    when len(v) > 0
        then list_transform(
            v, lambda item: case when isfinite(try_cast(item as double)) then try_cast(item as double) end
        )
end;
create or replace temp macro dicom_json(v) as case
    when len(v) > 0
        then try_cast(
            '[' || array_to_string(list_transform(v, lambda item: coalesce(item, 'null')), ',') || ']' as json
        )
end;
