"""Writes the published schemas of OCSF classes.

Reads {version, classes} from standard input and prints one JSON Schema for each class, by its name. None of them has a
reference to another document, and none takes a member that the class does not name.
"""

import json
import sys

import ocsf_json_schema

job = json.load(sys.stdin)
schemas = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf_json_schema.get_ocsf_schema(version=job["version"]))
json.dump({name: schemas.get_class_schema(name) for name in job["classes"]}, sys.stdout)
