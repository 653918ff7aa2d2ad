-- The baseline of volume_geometry: the slices of each CT series sorted by height, and the steps between them.
select
    SeriesInstanceUID,
    list(ImagePositionPatient[3] order by ImagePositionPatient[3]) as heights,
    max(ImagePositionPatient[3]) - min(ImagePositionPatient[3]) as extent
from core.images
where Modality = 'CT' and group_name = 'training'
group by SeriesInstanceUID
