-- No picture of the item lies in the directory any more.
DELETE FROM tds_images WHERE source_entity_id = $1;
