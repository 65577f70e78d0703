"""The model registry: versions, who is champion, and answers of the champion."""
