-- title: One study
-- question: Which images are there of one study?
-- grain: study
-- param id VARCHAR: the StudyInstanceUID
select StudyInstanceUID
from studies
where StudyInstanceUID = $id
group by StudyInstanceUID
