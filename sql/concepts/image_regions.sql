-- image_regions: one row per image: its body part, projection and view, in few categories.
-- Read from BodyPartExamined and ViewPosition (code strings of DICOM PS3.16, annex L and CID 4010, and PS3.3, C.8.1.2),
-- which centres also write in lower case, with more words, or not at all; then from the descriptions, most specific
-- first: series, protocol, study. A description of the spine or another part overrides the body part CHEST, which
-- consoles preset.
-- Two views in one text (PA and lateral) do not identify that of a single image.
-- Limits: words are English. View codes in ViewCodeSequence and the pixels are not used. An unnamed part is unknown: in
-- this database nearly always the chest, but not certainly.
create or replace view image_regions as
with
-- Many images share a few texts, so each text is read once. any_value keeps a condition on what was read from moving
-- below the grouping, where every image would be read for it.
texts as (
    select
        any_value(BodyPartExamined) as BodyPartExamined,
        any_value(ViewPosition) as ViewPosition,
        any_value(SeriesDescription) as SeriesDescription,
        any_value(ProtocolName) as ProtocolName,
        any_value(StudyDescription) as StudyDescription
    from images
    group by BodyPartExamined, ViewPosition, SeriesDescription, ProtocolName, StudyDescription
),

read_texts as (
    select
        *,
        -- Thoracic means the chest unless the spine is named: CT thoracic spine shows the spine.
        list_transform(
            [BodyPartExamined, SeriesDescription, ProtocolName, StudyDescription],
            lambda words: case
                when regexp_matches(words, 'chest|thorax|lung|pulmon|ctpa|cxr|hrct|mediastin', 'i') then 'chest'
                when
                    regexp_matches(
                        words,
                        'spine|spinal|spondyl|vertebra|scoliosis|thoraco[ _-]?lumbar|dorso[ _-]?lumbar'
                        '|(^|[^a-z])([ctld]|tl|ls)[ _.-]?sp(ine)?([^a-z]|$)',
                        'i'
                    )
                    then 'spine'
                when regexp_matches(words, 'thorac', 'i') then 'chest'
                when
                    regexp_matches(
                        words,
                        'abdom|(^|[^a-z])abdo([^a-z]|$)|pelvi'
                        '|(^|[^a-z])(hips?|kub|rib|ribs|arm|leg|toes?|jaw|neck|head)([^a-z]|$)'
                        '|knee|ankle|foot|feet|hand|wrist|elbow|shoulder|clavicle|scapula|sternum|humer|femur|femoral'
                        '|tibia|fibula|radius|ulna|finger|thumb|heel|calcan|skull|brain|facial|orbit|sinus|mandib'
                        '|dental|cervical|lumbar|sacr|coccyx|kidney|renal|liver|bowel|colon|urinary|bladder|breast'
                        '|mammo|cardiac|coronary|heart|aorta|extremity',
                        'i'
                    )
                    then 'other'
            end
        ) as parts,
        list_transform(
            [ViewPosition, SeriesDescription, ProtocolName, StudyDescription, BodyPartExamined],
            lambda words: [
                regexp_matches(words, '(^|[^a-z])(pa|postero[ -]?anterior)([^a-z]|$)', 'i'),
                regexp_matches(words, '(^|[^a-z])(ap|antero[ -]?posterior)([^a-z]|$)', 'i'),
                -- LL and RL of PS3.3; a lateral decubitus is a frontal view of a patient lying on the side, so not
                -- lateral.
                regexp_matches(words, '(^|[^a-z])(ll|rl|l?lat|rlat|lateral)([^a-z]|$)', 'i')
                and not regexp_matches(words, 'decub|obli', 'i'),
                regexp_matches(
                    words, '(^|[^a-z])(lld|rld|llo|rlo|lao|rao|lpo|rpo|obl)([^a-z]|$)|decub|obli|lordotic', 'i'
                )
            ]
        ) as views
    from texts
),

named as (
    select
        *,
        parts[1] as part,
        list_filter(parts[2:], lambda part: part is not null)[1] as described_part,
        list_filter(
            list_transform(
                views,
                lambda has: case
                    when has[4] and not has[1] and not has[2] then 'other'
                    when has[3] and not has[1] and not has[2] then 'lateral'
                    when has[1] and not has[2] and not has[3] then 'PA'
                    when has[2] and not has[1] and not has[3] then 'AP'
                    when has[1] and has[2] and not has[3] then 'AP or PA'
                end
            ),
            lambda view: view is not null
        )[1] as named_view
    from read_texts
),

shown as (
    select
        images.source,
        images.key,
        images.group_name,
        images.patient_id,
        images.available_date,
        images.SOPInstanceUID,
        images.StudyInstanceUID,
        images.SeriesInstanceUID,
        images.StudyDate,
        images.Modality,
        images.ViewPosition,
        images.vendor,
        images.ManufacturerModelName,
        images.header_age,
        case
            when named.part = 'chest' and named.described_part in ('spine', 'other') then named.described_part
            else coalesce(named.part, named.described_part, 'unknown')
        end as region,
        named.named_view,
        -- A film is frontal if its rows run to the patient's left or right, lateral if to front or back (PS3.3,
        -- C.7.6.1.1.1).
        upper(left(trim(images.PatientOrientation[1]), 1)) as rows_run_to,
        -- Value 3 of ImageType of a CT localizer (PS3.3, C.8.2.1.1.1), and the vendors' terms for it.
        coalesce(array_to_string(images.ImageType, ' ') ilike '%locali_er%', false)
        or coalesce(
            regexp_matches(
                concat_ws(' ', images.SeriesDescription, images.ProtocolName),
                'scout|topogram|scanogram|surview|locali[sz]er|smart ?prep|bolus track|premonitoring'
                '|dose report|patient protocol',
                'i'
            ),
            false
        ) as is_localizer
    from images
    inner join named on
        images.BodyPartExamined is not distinct from named.BodyPartExamined
        and images.ViewPosition is not distinct from named.ViewPosition
        and images.SeriesDescription is not distinct from named.SeriesDescription
        and images.ProtocolName is not distinct from named.ProtocolName
        and images.StudyDescription is not distinct from named.StudyDescription
)

select
    * exclude (named_view, rows_run_to),
    case
        when named_view in ('PA', 'AP', 'AP or PA') then 'frontal'
        when named_view is not null then named_view
        when rows_run_to in ('L', 'R') then 'frontal'
        when rows_run_to in ('A', 'P') then 'lateral'
        else 'unknown'
    end as projection,
    case when named_view in ('PA', 'AP') then named_view end as view
from shown;
