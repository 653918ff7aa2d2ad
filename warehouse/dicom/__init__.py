"""Reading DICOM JSON: every spelling of a data set is brought into one form, which is all that readers know.

`normal_form` says what the form is and finds the headers that are not in it, fast; `normalising` brings those into it;
`representations` has what differs between the value representations of PS3.5, `sequences` takes sequences out of bytes;
`dictionary` is what PS3.6 says of a tag.
"""
