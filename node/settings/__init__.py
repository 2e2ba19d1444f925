"""The declared settings: one table a theme, every setting declared once with its type, bounds and default.

``node.config.Config`` inherits from the tables; nothing else reads them.
"""
